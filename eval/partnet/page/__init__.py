"""The numbers as a page: tables, figures, a gallery of the best and worst."""
