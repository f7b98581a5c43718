"""The tiny policies: how they are made (`sage-bench tiny build`) and where their weights lie."""
