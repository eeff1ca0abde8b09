local k,a,p=KEYS,ARGV,redis.pcall
local c=p('GET',k[1])or''
if c~=a[1]then return{c}end
local r=p('GETSET',k[1],a[2])
if type(r)=='table'then return{r}end
return 1
