# The first function: what it returns is the run's output.
def handle(ctx, payload):
    payload = payload or {}
    name = payload.get("name", "Noone")
    place = payload.get("place", "Nowhere")
    return {"myField": "Hello, %s from %s" % (name, place)}
