"""Protocol buffer definitions, and the modules that protoc made of them."""
