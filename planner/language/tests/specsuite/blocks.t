# Blocks on one line and on several, labelled and repeated.
result = {
  empty  = {}
  single = { a = "1" }
  one    = { x = { a = "b", one = { deeper = {} } } }
  many   = [{ a = 2 }, { a = null }]
}
