"""What pages share: state, words, charts, tables, widgets and theme."""
