return{redis.pcall('LTRIM',KEYS[1],0,-1)}
