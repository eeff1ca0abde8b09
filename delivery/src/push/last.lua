local k,a,p=KEYS,ARGV,redis.pcall
local n,c=p(a[3],k[1],a[5]),p('GETSET',k[2],a[2])or''
local ok=tonumber(n)
if ok and c==a[1]then return n end
p('GETSET',k[2],c)
local u=ok and a[4]or n.err:find('OOM command not allowed',1,true)and a[4]-1
if u then if a[3]=='LPUSH'then p('LTRIM',k[1],u,-1)else p('LTRIM',k[1],0,-1-u)end end
return{c==a[1]and n or c}
