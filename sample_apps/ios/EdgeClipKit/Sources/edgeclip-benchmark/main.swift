import EdgeClipCore
print("")
