"""The machine's memory, the budget and its accounts, and the reports about them.

* what is free: `machine`, `cgroups`, `limits`, `kernel_files`
* the budget of loaded collections: `budget`, `shared_budget`, `ledger`
* temporary memory, and checks before something large: `workspace`, `preflight`
* unloading for others: `lender`, `pressure`, `trim`
* what users see: `report`, `sizes`
"""
