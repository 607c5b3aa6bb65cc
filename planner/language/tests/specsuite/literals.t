# Numbers of any size, escapes, normal forms, conversions, what is absent.
result_type = object({
  whole   = number
  part    = string
  sum     = number
  escaped = string
  joined  = bool
  yes     = string
  nothing = number
  absent  = string
})
result = {
  whole   = 12345678901234567890123456789
  part    = "0.1"
  sum     = 0.3
  escaped = "a	b\"é😀$${x}%%{y}"
  joined  = true
  yes     = "true"
  nothing = null
  absent  = null
}
