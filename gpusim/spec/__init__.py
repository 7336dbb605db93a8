"""The declared inputs: frozen, validated, read from YAML."""
