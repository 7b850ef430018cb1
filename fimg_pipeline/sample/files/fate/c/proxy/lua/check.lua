ngx.say("ok")
