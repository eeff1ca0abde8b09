local k,a,p,r=KEYS,ARGV,redis.pcall,redis.replicate_commands
if r then r()end
local c,n,d=p('GETSET',k[2],a[2])or'',nil,{}
if c==a[1]then
n=p('XLEN',k[1])
for i=5,#a do
if type(n)=='table'then break end
if i==#a and a[4]~='0'then n=p('XADD',k[1],'MAXLEN','~',a[4],'*',a[3],a[i])else n=p('XADD',k[1],'*',a[3],a[i])end
if type(n)~='table'then d[i-4]=n end
end
if type(n)~='table'then return p('XLEN',k[1])end
end
p('GETSET',k[2],c)
if#d>0 and type(p('XDEL',k[1],unpack(d)))=='table'then return{err='HALF entries stayed in the stream: '..n.err}end
return{n or c}
