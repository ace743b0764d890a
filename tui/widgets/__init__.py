"""Parts of screens that know no run: tables, bars, forms."""
