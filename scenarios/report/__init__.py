"""Pictures and pages made from records, and from nothing else; the same code for every world."""
