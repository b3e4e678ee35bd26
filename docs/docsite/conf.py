# Copyright (c) 2026, ipmasq.linux contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx settings of the site that ``make docs`` builds: reference by antsibull-docs, guides as they are in docs/."""

project = "ipmasq.linux"
copyright = "2026, ipmasq.linux contributors"  # noqa: A001 - Sphinx names it so
title = html_short_title = "ipmasq.linux"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
root_doc = "index"
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_index = False
html_copy_source = False
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
default_role = "any"
# Headings of the guides can be linked to, as on GitHub.
myst_heading_anchors = 3
# A site may be slow for once; the anchors on pages of GitHub are made by scripts, which nothing here runs.
linkcheck_retries = 3
linkcheck_timeout = 30
linkcheck_anchors_ignore_for_url = [r"https://github\.com/"]
# A lexer that does not know a word of a shell session still shows it.
suppress_warnings = ["misc.highlighting_failure"]
