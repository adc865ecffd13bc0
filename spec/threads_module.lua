-- What threads_spec has threads run by its name.
return function(i, text) return "module " .. i .. text end
