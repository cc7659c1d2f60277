"""The local cloud of one checkout: MiniStack, the deployed stack and the reference third party."""
