"""What a run did, in pictures."""
