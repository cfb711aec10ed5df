"""Group working sets: penalties of groups of columns, and folded ones of single columns."""
