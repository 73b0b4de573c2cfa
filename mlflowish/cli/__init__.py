"""The command `mlflowish`: prints for people, or JSON for programs, and ends with an exit code to trust."""
