"""From message bytes to model pixels and back."""
