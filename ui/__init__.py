"""What pages share: state, words, charts, tables, widgets, theme. The only importers of streamlit."""
