"""Trains a two-layer graph convolution net, full batch and transductive, as exported from a notebook."""

# coding: utf-8

# In[1]:

import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(42)


# ## A graph of four communities, with weak features

# In[2]:


n_nodes, n_classes, n_features = 240, 4, 24
labels = torch.arange(n_nodes) % n_classes
same = labels.unsqueeze(0) == labels.unsqueeze(1)
upper = torch.triu(torch.rand(n_nodes, n_nodes) < torch.where(same, 0.08, 0.008), diagonal=1)
adjacency = (upper | upper.T).float() + torch.eye(n_nodes)
degree = adjacency.sum(1)
adj = (adjacency / torch.sqrt(degree.unsqueeze(0) * degree.unsqueeze(1))).to_sparse_coo()
centers = torch.randn(n_classes, n_features)
features = 0.5 * centers[labels] + torch.randn(n_nodes, n_features)

order = torch.randperm(n_nodes)
train_mask, val_mask, test_mask = (torch.zeros(n_nodes, dtype=torch.bool) for _ in range(3))
train_mask[order[:60]] = True
val_mask[order[60:140]] = True
test_mask[order[140:]] = True


# In[3]:


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, input, adj):
        support = torch.mm(input, self.weight)
        return torch.sparse.mm(adj, support) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        x = self.gc2(x, adj)
        return F.log_softmax(x, dim=1)


model = GCN(n_features, 16, n_classes, dropout=0.5)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


# In[4]:


def accuracy(output, labels):
    return (output.argmax(1) == labels).double().mean().item()


def train(epoch):
    t = time.time()
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[train_mask], labels[train_mask])
    acc_train = accuracy(output[train_mask], labels[train_mask])
    loss_train.backward()
    optimizer.step()

    # Evaluate validation set performance separately, deactivates dropout during validation run.
    model.eval()
    with torch.no_grad():
        output = model(features, adj)
    loss_val = F.nll_loss(output[val_mask], labels[val_mask])
    acc_val = accuracy(output[val_mask], labels[val_mask])
    if epoch % 20 == 0:
        print(
            f"Epoch: {epoch:04d} loss_train: {loss_train.item():.4f} acc_train: {acc_train:.4f} "
            f"loss_val: {loss_val.item():.4f} acc_val: {acc_val:.4f} time: {time.time() - t:.4f}s"
        )


# In[5]:


for epoch in range(1, 161):
    train(epoch)


# In[6]:


model.eval()
with torch.no_grad():
    output = model(features, adj)
print(f"Test set results: accuracy= {accuracy(output[test_mask], labels[test_mask]):.4f}")
