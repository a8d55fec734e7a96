"""What the functions and the operator's tools share: the contract, the tables, pages and counts."""
