"""Writes src/schema.tsv: the vim25 types an event can contain, as pyvmomi knows them.

    python3 schema.py > src/schema.tsv        (with pyvmomi installed)

One line a type: its name on the wire, its base, and the fields of its own; those that are a single string or a single
reference only for events and their arguments, whose schemas are printed. Kinds: i integer, b boolean, f float, s string,
r reference, any, or a type's name; [] marks a list.
"""
import collections

from pyVmomi import VmomiSupport, vim, vmodl

DATA = vmodl.DynamicData


def kind(declared):
    is_list = issubclass(declared, list)
    item = declared.Item if is_list else declared
    if issubclass(item, bool):
        name = "b"
    elif issubclass(item, int):
        name = "i"
    elif issubclass(item, float):
        name = "f"
    elif issubclass(item, DATA):
        name = item._wsdlName
    elif issubclass(item, VmomiSupport.ManagedObject):
        name = "r"
    elif item.__name__ == "object":
        name = "any"
    else:
        name = "s"
    return item, name, is_list


types = []
for namespace, name in list(VmomiSupport._wsdlDefMap):
    if namespace != "urn:vim25":
        continue
    try:
        found = VmomiSupport.GetWsdlType(namespace, name)
    except Exception:  # primitive names of the definition map have no class
        continue
    if isinstance(found, type) and issubclass(found, DATA) and not issubclass(found, list):
        types.append(found)

subtypes = collections.defaultdict(list)
for one in types:
    for base in one.__mro__[1:]:
        subtypes[base].append(one)

reached, queue = set(), [vim.event.Event] + subtypes[vim.event.Event]
while queue:
    one = queue.pop()
    if one in reached or one is DATA:
        continue
    reached.add(one)
    queue.extend(base for base in one.__mro__[1:] if isinstance(base, type) and issubclass(base, DATA))
    for field in one._GetPropertyList():
        item, _, _ = kind(field.type)
        if issubclass(item, DATA):
            queue.extend([item] + subtypes[item])

print("# type\tbase\tfields; written by schema.py")
for one in sorted(reached, key=lambda t: t._wsdlName):
    is_whole = issubclass(one, (vim.event.Event, vim.event.EventArgument))
    fields = []
    for field in one._GetPropertyList(includeBaseClassProps=False):
        _, name, is_list = kind(field.type)
        if is_whole or is_list or name not in ("s", "r", "any"):
            fields.append(f"{field.name}={name}{'[]' if is_list else ''}")
    base = one.__bases__[0]
    print(one._wsdlName, "" if base is DATA else base._wsdlName, " ".join(fields), sep="\t")
