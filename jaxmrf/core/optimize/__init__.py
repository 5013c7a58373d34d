"""Steps that lower the energy."""
