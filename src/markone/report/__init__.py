"""Reports: runs, findings and comparisons in words, as JSON documents, in the terminal and as a page of HTML."""
