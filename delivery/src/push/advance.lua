local c=redis.call('GET',KEYS[1])or''
if c==ARGV[1]then redis.call('GETSET',KEYS[1],ARGV[2])return 1 end
return{c}
