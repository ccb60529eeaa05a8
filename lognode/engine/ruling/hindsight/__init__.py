"""What rules decided, looked at afterwards: whether it is what they had to decide, and what others would have done."""
