"""What deploying and operating rest on, as far as it can be had without AWS."""
