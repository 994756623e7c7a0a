"""The real `sam local`, in containers."""
