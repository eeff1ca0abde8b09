local k,a,p=KEYS,ARGV,redis.pcall
local c,n=p('GETSET',k[2],a[2])or''
if c==a[1]then n=p(a[3],k[1],unpack(a,4))if tonumber(n)then return n end end
p('GETSET',k[2],c)
return{n or c}
