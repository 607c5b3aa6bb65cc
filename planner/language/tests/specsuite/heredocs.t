# What is cut from each line, and what is not.
result = {
  plain        = "  a\nb\n"
  flush        = "one\n  two\n\nthree\n"
  first_column = "t:\n  x\n    y\n"
  listed       = ["in a list\n", "true  last\n"]
}
