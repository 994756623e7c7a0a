"""The API in AWS's own tool: `sam local`, in containers of the developer's Docker."""
