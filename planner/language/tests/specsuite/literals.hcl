whole   = 12345678901234567890123456789
part    = 0.1
sum     = 0.1 + 0.2
escaped = "a\tb\"\u00e9\U0001F600$${x}%%{y}"
joined  = "e\u0301" == "é"
yes     = true
nothing = null
