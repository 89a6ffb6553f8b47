"""`vmpower top`: a reducer of keys, a history, a renderer, and the loop around them."""
