"""What Streamlit runs for every visitor: the page that the address names, for who may see it.

Beside a folder named `pages`, Streamlit would run the files in it by themselves.
"""

from ui.common import site

if __name__ == "__main__":
    site.run()
