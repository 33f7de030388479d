"""What pages share: state, charts, tables, widgets and theme."""
