"""HTTP transport, and what each product's answers mean."""
