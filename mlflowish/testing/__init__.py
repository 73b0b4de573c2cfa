"""Conformance suites and faults, for tests of this library and of yours. Imported by nothing else here."""
