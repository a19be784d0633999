"""What is installed and shipped: the lock, the wheel, the Dockerfiles, the compose file."""
