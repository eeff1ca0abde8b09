local k,a,p=KEYS,ARGV,redis.pcall
local c,n=p('GETSET',k[2],a[2])or''
if c==a[1]then n=p('LPUSH',k[1],unpack(a,4))if tonumber(n)then return n end end
p('SET',k[2],c)p('LTRIM',k[1],a[3],-1)
return{n or c}
