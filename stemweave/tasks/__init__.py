"""What users ask for: separate, generate, arrange, edit, extend, vary."""
