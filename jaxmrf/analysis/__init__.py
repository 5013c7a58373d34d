"""What matches, labels and layers can tell, beside painting; pure."""
