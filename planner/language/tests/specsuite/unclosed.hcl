a = "one"
b = "two
c = 3
