"""What rules decided, looked at afterwards, from what is stored."""
