local k,a,p=KEYS,ARGV,redis.pcall
local n,c=p(a[3],k[1],a[6]),p('GETSET',k[2],a[2])or''
if c==a[1]and tonumber(n)then return n end
p('GETSET',k[2],c)
if tonumber(n)then p('LTRIM',k[1],a[4],a[5])end
return{c==a[1]and n or c}
