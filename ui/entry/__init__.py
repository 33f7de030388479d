"""The script that Streamlit runs; in a folder of its own, which it takes pages and imports from."""
