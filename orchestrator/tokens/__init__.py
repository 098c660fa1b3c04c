"""How many tokens a text or a request has, without a tokenizer."""
